# Les pages de la personne.

heading = Vos e-mails de { $sender }
who = { $sender } écrit à { $address }.

list-heading = Cette liste
list-open = Ce message vient de la liste « { $list } ».
list-left = Vous avez quitté la liste « { $list } ». Plus rien n’en sera envoyé.
list-leave = Me désabonner de « { $list } »
list-back = Me réabonner à « { $list } »
list-notice = En appuyant sur ce bouton, vous acceptez de recevoir les e-mails de la liste « { $list } » de { $sender } à l’adresse { $address }. Vous pouvez vous désabonner à tout moment par le lien présent dans chaque message.

all-heading = Tous les messages de { $sender }
all-open = Arrêter toute la prospection de { $sender }, sur toutes les listes. Les messages liés à une commande ou à un compte ne sont pas concernés.
all-left = { $sender } n’envoie plus de prospection à { $address }, sur aucune liste.
all-leave = Arrêter toute la prospection de { $sender }
all-back = Recevoir à nouveau la prospection de { $sender }
all-notice = En appuyant sur ce bouton, vous acceptez de recevoir les e-mails de prospection de { $sender } à l’adresse { $address } sur toutes ses listes : { $lists }. Vous pouvez vous désabonner à tout moment par le lien présent dans chaque message.

choose-heading = Choisir par thème
choose-hint = Ce qui est activé peut vous être envoyé.
choose-save = Enregistrer mes choix

done-heading = C’est fait
done-list = { $address } ne recevra plus les e-mails de la liste « { $list } » de { $sender }. Cela vaut dès maintenant.
done-all = { $address } ne recevra plus de prospection de { $sender }. Cela vaut dès maintenant.
done-choices = Vos choix sont enregistrés et valent dès maintenant.
done-list-back = { $address } peut à nouveau recevoir la liste « { $list } » de { $sender }.
done-all-back = { $address } peut à nouveau recevoir la prospection de { $sender }.
mistake = C’était une erreur ?
more = Voir tous les choix

shut = Cette adresse est bloquée pour une raison que cette page ne peut pas changer. Veuillez vous adresser à { $sender }.
shut-heading = Impossible ici

unknown-heading = Ce lien n’est pas connu ici
unknown-text = Veuillez utiliser le lien d’un message que vous avez reçu, exactement tel qu’il y figure.
later-heading = Pas encore enregistré
later-text = Votre souhait n’a pas pu être enregistré pour le moment. Veuillez réessayer dans quelques minutes.
often-heading = Trop de demandes
often-text = Veuillez patienter quelques minutes, puis réessayer.
unclear-heading = Demande non comprise
unclear-text = Rien n’a été changé. Veuillez ouvrir le lien de votre message et utiliser les boutons de la page.

contact = Contact
imprint = Mentions légales
languages = Langue
